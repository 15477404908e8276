"""Pushes the image of an archive, as `docker save` writes it, to a registry that speaks HTTP: ARCHIVE HOST NAME:TAG
USER PASSWORD."""

import base64
import gzip
import hashlib
import json
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request

archive, host, name, user, password = sys.argv[1:]
repository, tag = name.rsplit(":", 1)
login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def ask(method, url, body=None, sort="application/octet-stream"):
    request = urllib.request.Request(url, data=body, method=method)
    request.add_header("Authorization", login)
    request.add_header("Content-Type", sort)
    with urllib.request.urlopen(request) as answer:
        return answer


def push(content, sort):
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    begun = ask("POST", f"http://{host}/v2/{repository}/blobs/uploads/", b"")
    place = urllib.parse.urljoin(f"http://{host}", begun.headers["Location"])
    ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content)
    return {"mediaType": sort, "size": len(content), "digest": digest}


def refused():
    try:
        urllib.request.urlopen(f"http://{host}/v2/")
    except urllib.error.HTTPError as error:
        return error.code == 401
    return False


assert refused(), "this registry lets anybody in"
with tarfile.open(archive) as tar:
    read = lambda member: tar.extractfile(member).read()
    image = json.loads(read("manifest.json"))[0]
    layer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    layers = [push(gzip.compress(read(path), 1), layer) for path in image["Layers"]]
    config = push(read(image["Config"]), "application/vnd.docker.container.image.v1+json")
sort = "application/vnd.docker.distribution.manifest.v2+json"
manifest = {"schemaVersion": 2, "mediaType": sort, "config": config, "layers": layers}
ask("PUT", f"http://{host}/v2/{repository}/manifests/{tag}", json.dumps(manifest).encode(), sort)
