"""The methods: one file per term of an expression; a term's name is its file's."""
