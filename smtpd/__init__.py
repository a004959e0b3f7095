"""The LMTP and SMTP door: mail comes in."""
