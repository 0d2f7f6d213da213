"""Prints the software bill of materials of the program: the crates of the static binary, as CycloneDX 1.5.

    python3 packaging/sbom.py [TARGET]

TARGET is the platform of the binary, x86_64-unknown-linux-musl by default. The output depends on Cargo.lock alone.
"""

import json
import os
import re
import subprocess
import sys
import uuid

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = "x86_64-unknown-linux-musl"


def metadata(target):
    command = ("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target)
    return json.loads(subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.PIPE, text=True).stdout)


def linked(nodes, packages, root):
    """The ids of the packages that the binary links, without macros and tools of the build and of the tests."""
    found, queue = {root}, [root]
    while queue:
        for dependency in nodes[queue.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            is_macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if is_linked and not is_macro and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                queue.append(dependency["pkg"])
    return found


def checksums():
    """The SHA-256 of each package of the registry, by name and version."""
    text = open(f"{REPO}/Cargo.lock", encoding="utf-8").read()
    entry = re.compile(r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"')
    return {(name, version): checksum for name, version, checksum in entry.findall(text)}


def component(package, kind, hashes):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    fields = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if package["license"]:
        # Older crates separate alternatives by a slash.
        fields["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if (name, version) in hashes:
        fields["hashes"] = [{"alg": "SHA-256", "content": hashes[name, version]}]
    return fields


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else TARGET
    data, hashes = metadata(target), checksums()
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    packages = {package["id"]: package for package in data["packages"]}
    root = data["resolve"]["root"]
    ids = linked(nodes, packages, root)
    components = [component(packages[id], "library", hashes) for id in ids if id != root]
    reference = {id: f"pkg:cargo/{packages[id]['name']}@{packages[id]['version']}" for id in ids}
    dependencies = [
        {"ref": reference[id], "dependsOn": sorted({reference[d["pkg"]] for d in nodes[id]["deps"] if d["pkg"] in ids})}
        for id in ids
    ]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[root], "application", hashes)},
        "components": sorted(components, key=lambda item: item["purl"]),
        "dependencies": sorted(dependencies, key=lambda item: item["ref"]),
    }
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
    missing = [item["purl"] for item in components if "licenses" not in item]
    if missing:
        sys.exit(f"sbom: packages without a licence: {', '.join(missing)}")
    json.dump(bom, sys.stdout, indent=1)
    print()


main()
