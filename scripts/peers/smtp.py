#!/usr/bin/env python3
"""A mail server that requires STARTTLS, a user name and a password: smtp.py PORT CERTIFICATE KEY SPOOL

It writes one JSON line to SPOOL for each mail: {"from": ..., "to": [...], "text": ...}.
"""
import json
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

port, certificate, key, spool = int(sys.argv[1]), *sys.argv[2:5]


class Spool:
    async def handle_DATA(self, server, session, envelope):
        mail = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "text": envelope.content.decode()}
        with open(spool, "a") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    known = LoginPassword(b"vestibule", b"vestibule-at-smtp")
    return AuthResult(success=isinstance(data, LoginPassword) and data == known)


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
Controller(
    Spool(),
    hostname="127.0.0.1",
    port=port,
    tls_context=context,
    require_starttls=True,
    authenticator=authenticate,
    auth_required=True,
).start()
threading.Event().wait()
