"""Keys and signatures on a command line."""
