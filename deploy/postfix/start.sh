#!/bin/sh
# Starts Postfix in its container. The root file system is read-only: the configuration is made in /run.
set -eu
: "${MAIL_HOSTNAME:?say which name this mail server has}"
from=${RESTANTE_CONFIG:-/usr/local/share/restante}
etc=${RESTANTE_ETC:-/run/restante}
mkdir -p "$etc"
cp "$from/main.cf" "$from/master.cf" "$etc/"
postconf -c "$etc" -e \
    "myhostname = $MAIL_HOSTNAME" \
    "restante_lmtp = ${RESTANTE_LMTP:-inet:smtpd:2424}" \
    "restante_lookups = ${RESTANTE_LOOKUPS:-inet:smtpd:2430}" \
    "restante_policy = ${RESTANTE_POLICY:-inet:smtpd:2431}" \
    "maillog_file = /dev/stdout"
if [ -n "${TLS_CERT:-}" ]; then
    postconf -c "$etc" -e "smtpd_tls_chain_files = ${TLS_KEY:?TLS_CERT and TLS_KEY come together}, $TLS_CERT"
fi
# For those who look into the container: MAIL_CONFIG=/run/restante postqueue -p
exec postfix -c "$etc" start-fg
