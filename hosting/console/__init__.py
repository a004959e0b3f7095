"""The operator's door: the console, where staff open accounts, help subscribers and see how things are."""
