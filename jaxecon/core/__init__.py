"""What knows no economics: files, processes, compiled programs, random numbers, errors."""
