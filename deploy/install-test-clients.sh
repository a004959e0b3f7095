#!/bin/sh
# The mail programs and servers that the tests drive for real. Without root's rights (or apt) their tests are skipped
# by name.
set -e
PATH="$PATH:/usr/sbin"
wanted="curl:curl fetchmail:fetchmail mpop:mpop getmail:getmail6 postfix:postfix redis-server:redis-server xgettext:gettext chromium:chromium"
missing=""
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing mail programs for the tests:$missing"
    apt-get update -qq
    # The tests run a Postfix of their own: the system's gets no configuration, and so does not start.
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Not installed, so their tests will be skipped:$missing"
fi
