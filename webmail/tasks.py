"""What a worker must know of the webmail: being imported by it, errands of this door find what does them."""

from webmail import fetching

RUNNERS = (fetching,)
