"""The night: what partners owe each other for a window, netted through the network."""
