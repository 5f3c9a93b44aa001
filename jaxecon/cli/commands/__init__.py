"""The commands, one file each. They import what takes long when they are called."""
