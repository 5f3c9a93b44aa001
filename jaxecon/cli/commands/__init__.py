"""The commands, one file each. They import slow packages only when they are called."""
