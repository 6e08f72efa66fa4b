"""Terms and what they may ask, expressions, curricula, sampling; not the terms themselves."""
