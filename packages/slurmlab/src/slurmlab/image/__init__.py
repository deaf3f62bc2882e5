"""What images are built from, and process 1 of the hosts that start from them."""
