"""Networks and their text models; not their training."""
