#!/usr/bin/env python3
"""Pack layer tars into one docker-archive that holds many images.

Usage: pack.py OUT.tar LIST
Each line of LIST: refs (spaces between) | layer tars (spaces between) | JSON of the image's "config".
Layers used by several images are stored once.
"""
import hashlib, io, json, os, sys, tarfile

out, listing = sys.argv[1:3]
images, layers = [], {}
for line in open(listing):
    line = line.strip()
    if not line or line.startswith("#"):
        continue
    refs, paths, config = (f.strip() for f in line.split("|", 2))
    images.append((refs.split(), paths.split(), json.loads(config)))

o = tarfile.open(out, "w")


def add(name, data):
    t = tarfile.TarInfo(name)
    t.size = len(data)
    o.addfile(t, io.BytesIO(data))


manifest = []
for refs, paths, config in images:
    for p in paths:
        if p in layers:
            continue
        h = hashlib.sha256()
        with open(p, "rb") as f:
            for b in iter(lambda: f.read(1 << 20), b""):
                h.update(b)
        layers[p] = h.hexdigest()
        t = tarfile.TarInfo(layers[p] + ".tar")
        t.size = os.path.getsize(p)
        with open(p, "rb") as f:
            o.addfile(t, f)
    config.setdefault("Env", ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    c = json.dumps({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layers[p] for p in paths]},
        "history": [{"created_by": "test/lab/images"} for _ in paths],
    }).encode()
    name = hashlib.sha256(c).hexdigest() + ".json"
    add(name, c)
    manifest.append({"Config": name, "RepoTags": refs, "Layers": [layers[p] + ".tar" for p in paths]})
add("manifest.json", json.dumps(manifest).encode())
o.close()
