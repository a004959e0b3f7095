"""How gunicorn serves the web pages; it finds this file in the folder where it is started. Its command line
says where it listens, and may say anything else differently."""

workers = 2
# A request that waits (a long import, an image from far away) must not hold all the others, nor look like a
# worker that hangs: with threads the worker goes on telling gunicorn that it lives.
threads = 8
# Nobody steers it through a socket, and its folder is not written to.
control_socket_disable = True
