"""`requests-oauthlib` from its registry, unmodified, against the server in the environment.

The library has no discovery and no introspection of its own: both are plain requests of its session.
OAUTHLIB_INSECURE_TRANSPORT is what it asks for wherever it is to speak plain http, as here on loopback.
"""

import json
import os
import re
import socket
import struct
import sys
import threading
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

ISSUER = os.environ["LEDGER_ISSUER"]
RESOURCE = os.environ["LEDGER_RESOURCE"]
REDIRECT_URI = os.environ["LEDGER_REDIRECT_URI"]
SCOPE = ["photos.read", "photos.write"]
GENERATIONS = 10
# The authorization endpoint belongs to the login application.
AUTHORIZATION_ENDPOINT = "https://login.example/authorize"

passed = failed = 0


def step(name, run):
    """Runs one step and says how it went; what it returns is for the next ones."""
    global passed, failed
    try:
        result = run()
    except Exception as error:
        failed += 1
        print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
        return None
    passed += 1
    print(f"ok    {name}", flush=True)
    return result


def consent(authorization_url):
    """The login application: a person said yes; where the browser is sent back to, with a code."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(authorization_url).query).items()}
    answer = requests.post(
        os.environ["LEDGER_ADMIN"] + "/admin/grants",
        headers={"Authorization": "Bearer " + os.environ["LEDGER_LOGIN_TOKEN"]},
        json={
            "client_id": asked["client_id"],
            "subject": "alice",
            "scope": asked["scope"],
            "resource": [RESOURCE],
            "redirect_uri": asked["redirect_uri"],
            "code_challenge": asked["code_challenge"],
            "code_challenge_method": asked["code_challenge_method"],
        },
        timeout=20,
    )
    assert answer.ok, answer.text
    back = {"code": answer.json()["code"], "state": asked["state"]}
    return asked["redirect_uri"] + "?" + urlencode(back)


class Losing:
    """A TCP proxy before the server: it reads one whole answer, and resets the client's connection."""

    def __init__(self, endpoint):
        server = urlsplit(endpoint)
        self.upstream = (server.hostname, server.port)
        self.cutting = False
        self.lost = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        self.url = server._replace(netloc=f"127.0.0.1:{port}").geturl()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            down, _ = self.listener.accept()
            up = socket.create_connection(self.upstream)
            threading.Thread(target=self.carry, args=(down, up), daemon=True).start()
            threading.Thread(target=self.answer, args=(up, down), daemon=True).start()

    @staticmethod
    def carry(down, up):
        try:
            while data := down.recv(65536):
                up.sendall(data)
            up.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side was closed

    def answer(self, up, down):
        answer = b""
        try:
            while data := up.recv(65536):
                if not self.cutting:
                    down.sendall(data)
                    continue
                answer += data
                head, _, body = answer.partition(b"\r\n\r\n")
                length = re.search(rb"(?im)^content-length: *(\d+)", head)
                if length and len(body) == int(length[1]):
                    self.cutting = False
                    self.lost.append(json.loads(body))
                    # Linger of no time: the client is reset instead of told the end.
                    down.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    down.shutdown(socket.SHUT_RDWR)
                    break
        except OSError:
            pass  # the other side was closed
        down.close()
        up.close()


def discovery():
    answer = requests.get(ISSUER + "/.well-known/oauth-authorization-server", timeout=20)
    assert answer.headers["content-type"] == "application/json"
    metadata = answer.json()
    assert metadata["issuer"] == ISSUER
    assert "S256" in metadata["code_challenge_methods_supported"]
    return metadata


METADATA = step("discovery", discovery)
TOKEN_ENDPOINT = METADATA["token_endpoint"]


def introspect(token):
    """As the resource server that was shown the token."""
    api = HTTPBasicAuth(os.environ["API_ID"], os.environ["API_SECRET"])
    answer = requests.post(METADATA["introspection_endpoint"], data={"token": token}, auth=api, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


class Party:
    """One client and how the library is told to authenticate it."""

    def __init__(self, method, name):
        self.method = method
        self.id = os.environ[name + "_ID"]
        self.secret = os.environ.get(name + "_SECRET")
        self.session = OAuth2Session(self.id, scope=SCOPE, redirect_uri=REDIRECT_URI, pkce="S256")
        if method == "client_secret_basic":
            self.fetching = {"client_secret": self.secret}
            self.refreshing = {"auth": HTTPBasicAuth(self.id, self.secret)}
        elif method == "client_secret_post":
            self.fetching = {"client_secret": self.secret, "include_client_id": True}
            self.refreshing = {"client_id": self.id, "client_secret": self.secret}
        else:
            self.fetching = {"include_client_id": True}
            self.refreshing = {"client_id": self.id}

    def exchange(self):
        url, _ = self.session.authorization_url(AUTHORIZATION_ENDPOINT)
        token = self.session.fetch_token(
            TOKEN_ENDPOINT, authorization_response=consent(url), timeout=20, **self.fetching
        )
        assert token["token_type"] == "Bearer" and token.scope_changed is False, token
        assert self.session.authorized

    def client_credentials(self):
        own = OAuth2Session(client=BackendApplicationClient(client_id=self.id, scope=["photos.read"]))
        token = own.fetch_token(TOKEN_ENDPOINT, timeout=20, resource=RESOURCE, **self.fetching)
        assert "refresh_token" not in token
        seen = introspect(token["access_token"])
        assert (seen["active"], seen["sub"], seen["scope"]) == (True, self.id, "photos.read"), seen

    def refresh(self, url=TOKEN_ENDPOINT):
        """With the refresh token that the session holds."""
        return self.session.refresh_token(url, timeout=20, **self.refreshing)["refresh_token"]

    def generations(self):
        tokens = {self.session.token["refresh_token"]}
        tokens.update(self.refresh() for _ in range(GENERATIONS))
        assert len(tokens) == GENERATIONS + 1

    def dropped(self):
        proxy = Losing(TOKEN_ENDPOINT)
        spent = self.session.token["refresh_token"]
        proxy.cutting = True
        try:
            self.refresh(proxy.url)
        except requests.ConnectionError:
            pass
        else:
            raise AssertionError("the connection was not dropped")
        assert len(proxy.lost) == 1 and self.session.token["refresh_token"] == spent
        assert self.refresh(proxy.url) == proxy.lost[0]["refresh_token"]
        self.refresh(proxy.url)

    def introspection(self):
        seen = introspect(self.session.token["access_token"])
        assert (seen["active"], seen["sub"], seen["client_id"]) == (True, "alice", self.id), seen
        assert seen["scope"].split() == SCOPE and seen["aud"] == [RESOURCE], seen
        assert introspect("tla_unknown") == {"active": False}

    def revoke(self, kind):
        """What oauthlib prepares, sent by the session with the client's own authentication."""
        url, headers, body = self.session._client.prepare_token_revocation_request(
            METADATA["revocation_endpoint"],
            self.session.token[kind],
            kind,
            **({} if "auth" in self.refreshing else self.refreshing),
        )
        return self.session.post(
            url, data=body, headers=headers, auth=self.refreshing.get("auth"), withhold_token=True, timeout=20
        )

    def revocation(self):
        assert self.revoke("access_token").status_code == 200
        assert introspect(self.session.token["access_token"]) == {"active": False}
        self.refresh()
        assert self.revoke("refresh_token").status_code == 200
        assert introspect(self.session.token["access_token"]) == {"active": False}
        try:
            self.refresh()
        except InvalidGrantError:
            return
        raise AssertionError("a revoked refresh token was taken")


for party in [
    Party("client_secret_basic", "PLAIN"),
    Party("client_secret_post", "POST"),
    Party("none", "PUBLIC"),
]:
    step(f"{party.method}: code exchange with PKCE", party.exchange)
    if party.secret:
        step(f"{party.method}: client credentials", party.client_credentials)
    step(f"{party.method}: refresh with rotation, {GENERATIONS} generations", party.generations)
    step(f"{party.method}: refresh after a dropped connection gives the same successor", party.dropped)
    step(f"{party.method}: introspection", party.introspection)
    step(f"{party.method}: revocation", party.revocation)

print(f"{passed} passed, {failed} failed")
sys.exit(0 if passed and not failed else 1)
