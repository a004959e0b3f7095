"""The POP3 door: subscribers fetch their mail."""
