"""What `bench/soak.py` is made of: a small coalition, those who load it, who kills it, and who checks it."""
