"""Many runs: designs, chunks, folders."""
