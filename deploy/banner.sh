#!/bin/sh
# Waits until every door answers, then says what a newcomer needs to see. Started by `make run`.
.venv/bin/python - <<'PYTHON' || exit 0
import socket, sys, time
deadline = time.monotonic() + 60
for port in (2110, 2995, 2424, 2525, 8000):
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(1)
            time.sleep(0.2)
PYTHON
cat <<'TEXT'

  Restante is running.

    POP3        127.0.0.1:2110   (STLS offered; plain login from this machine only)
    POP3, TLS   127.0.0.1:2995   (self-signed certificate)
    LMTP        127.0.0.1:2424
    SMTP        127.0.0.1:2525
    Web         http://localhost:8000/

TEXT
if [ -f var/demo-passwords.txt ]; then
    echo "  The demo accounts and their passwords:"
    echo
    sed 's/^/    /' var/demo-passwords.txt
    read -r login password < var/demo-passwords.txt
    printf '\n  Read the first message:\n\n    curl -u "%s:%s" pop3://127.0.0.1:2110/1\n\n' "$login" "$password"
fi
echo "  Ctrl-C stops everything; the mail stays."
echo
