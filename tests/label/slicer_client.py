# SPDX-License-Identifier: Apache-2.0
"""What 3D Slicer's module does, by the client that MONAI Label brings for it: run by the server's own Python.

Uploads an image, asks for the server's models, super-resolves the image with a reference named in the parameters, and
another in a session; prints the HTTP calls and what came back as JSON.
"""

import http.client
import json
import shutil
import sys
import urllib.parse

import requests
from monailabel.client import MONAILabelClient

calls = []
plain, plain_upload = http.client.HTTPConnection.request, requests.sessions.Session.request


def record(self, method, url, body=None, headers=None, **options):
    """Keep what is sent, but for the bytes of images."""
    calls.append([method, url.split("&client_id")[0], (headers or {}).get("content-type", "").split(";")[0]])
    return plain(self, method, url, body, headers or {}, **options)


def record_upload(self, method, url, **options):
    """Likewise of the upload of a session, which goes by requests."""
    calls.append([method.upper(), urllib.parse.urlsplit(url).path, "multipart/form-data" if options["files"] else ""])
    return plain_upload(self, method, url, **options)


http.client.HTTPConnection.request = record
requests.sessions.Session.request = record_upload
url, image, reference, folder = sys.argv[1:]
client = MONAILabelClient(server_url=url, tmpdir=folder)
models = client.info()["models"]
client.upload_image(image, "uploaded_T2w")
answers = [client.infer("mcsr", "uploaded_T2w", {"reference": reference})]
session = client.create_session(image)["session_id"]
answers.append(client.infer("mcsr", "", {"reference": reference}, session_id=session))
results = []
for index, (file, params) in enumerate(answers):
    kept = f"{folder}/{index}.nii.gz"
    shutil.copyfile(file, kept)
    results.append([kept, params])
shown = [[method, path.replace(session, "SESSION"), kind] for method, path, kind in calls]
sys.stdout.write(json.dumps({"models": models, "calls": shown, "results": results}) + "\n")
