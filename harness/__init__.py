"""Does synthetic data help image classifiers that learn from scarce or poor data?"""
