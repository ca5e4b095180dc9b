"""What the functions share. Decisions (`backlog`, `gate`, `pace`, `outcomes`) know no I/O; I/O decides nothing."""
