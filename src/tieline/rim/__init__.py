"""What all live rooms share: supervision of tasks, serving HTTP, TLS contexts, the system clock."""
