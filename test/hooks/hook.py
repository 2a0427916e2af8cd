#!/usr/bin/env python3
# Copyright The Portico Authors
# SPDX-License-Identifier: Apache-2.0
"""The hook of main.go, in Python: hook.py HOST PORT CERT KEY"""
import base64, http.server, json, ssl, sys

MIRROR = "mirror.example/"


def answer(pod):
    patch = []
    for i, container in enumerate(pod["spec"]["containers"]):
        image = container["image"]
        if image.endswith(":latest"):
            return {"allowed": False, "status": {"code": 403, "message": f"image {image} has no version"}}
        if not image.startswith(MIRROR):
            patch.append({"op": "replace", "path": f"/spec/containers/{i}/image", "value": MIRROR + image})
    if not patch:
        return {"allowed": True}
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        response = answer(review["request"]["object"]) | {"uid": review["request"]["uid"]}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
