"""What is said: values and names, without a socket, a file or a clock. Pure."""
