"""Mutation testing of the kernel: changes its SQL, one small thing at a time, and sees whether a test notices."""
