"""A site on machines made by the test, set up by the playbooks as its operator would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from machine import PREFIX, Machine, Network, quiet
from outside import CLIENT_SECRET, ISSUER, Authority, Provider
from rootfs import CODE, SOURCES, bare_debian, sources

DOMAIN = "leerlab.test"
GROUPS = {"hub1": "hub", "hub2": "hub", "control1": "controller"}
# Many times what it takes: a busy machine plays slowly, and a playbook that waits for ever must end too.
PLAYBOOK_SECONDS = 5400
PACKAGE_SOURCES = {
    "etc/apt/sources.list": f"deb [trusted=yes] file:{SOURCES}/debs ./\n",
    "etc/pip.conf": f"[global]\nno-index = true\nfind-links = {SOURCES}/wheels\ndisable-pip-version-check = true\n",
    # The npm of the locked Node reads its own folder and the account's home, not /etc.
    "root/.npmrc": f"cache={SOURCES}/npm\noffline=true\n",
}


def ansible_environment() -> Path:
    """Where the locked Ansible is."""
    return Path(os.environ["LEERLAB_ANSIBLE_ENV"])


def group_of(name: str) -> str:
    """What a machine of this name plays in its site."""
    return GROUPS.get(name, "nodes")


@dataclass(frozen=True)
class Played:
    """What a playbook did.

    Args:
        code: its exit code.
        output: all that it printed.
        changed: of each machine, how many tasks changed something.
        seconds: how long it took.
    """

    code: int
    output: str
    changed: Mapping[str, int]
    seconds: float

    @property
    def changes(self) -> list[str]:
        """The names of what changed, for the report of a test that expects none."""
        found, task = [], ""
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                task = line
            if line.startswith("changed: "):
                found.append(f"{task}: {line}")
        return found


@dataclass
class Operator:
    """The operator's own folder: inventory, site.yaml, secrets; and the machines it speaks of."""

    folder: Path
    network: Network
    shared: Path
    repository: Path
    authority: Authority
    provider: Provider
    machines: dict[str, Machine] = field(default_factory=dict)
    tree: Path = CODE
    first: Played | None = None

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yml"

    @property
    def site_file(self) -> Path:
        return self.folder / "site.yaml"

    def machine(self, name: str, number: int, base: Sequence[Path] = (), *, shared: bool = True) -> Machine:
        """A new machine, with Debian on it and nothing else, switched on."""
        packages = sources()
        binds = [
            (folder, f"{SOURCES}/{kind}", kind == "npm")
            for kind, folder in (("debs", packages.debs), ("wheels", packages.wheels), ("npm", packages.npm))
        ]
        if shared:
            binds.append((self.shared, "/srv/leerlab", True))
        if group_of(name) != "nodes":
            binds.append((self.repository, "/srv/backup", True))
        made = Machine(
            name, number, self.network, tuple(base) or (bare_debian(),), self.folder / "machines" / name, tuple(binds)
        )
        self.machines[name] = made
        made.make()
        for path, text in PACKAGE_SOURCES.items():
            (made.root / path).write_text(text)
        # What every machine of an organisation has before a site comes: names, and its authority.
        trusted = made.root / "usr/local/share/ca-certificates"
        trusted.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.authority.certificate, trusted / "organisation.crt")
        quiet("chroot", made.root, "update-ca-certificates")
        with (made.root / "etc/hosts").open("a") as hosts:
            hosts.write(f"{self.hub.address} {DOMAIN} portal.{DOMAIN}\n")
        made.boot()
        if group_of(name) == "hub":
            self.provider.reach_from(name)
        return made

    def write(self, *, site: Mapping[str, Any] | None = None, **variables: object) -> None:
        """The inventory and site.yaml."""
        self.site_file.write_text(yaml.safe_dump(dict(site or site_description()), allow_unicode=True, sort_keys=False))
        password = self.folder / "backup-password"
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text("correct horse battery staple, and more\n")
        secret = self.folder / "surf-secret"
        secret.touch(mode=0o600)
        secret.write_text(CLIENT_SECRET + "\n")
        given = {
            "leerlab_site_file": str(self.site_file),
            "leerlab_certificate": str(self.folder / f"{DOMAIN}.pem"),
            "leerlab_certificate_key": str(self.folder / f"{DOMAIN}.key"),
            "leerlab_secret_files": [{"from": str(self.folder / "surf-secret"), "to": "/etc/leerlab/surf-secret"}],
            "leerlab_backup_repository": "/srv/backup/repository",
            "leerlab_backup_password_file": str(password),
            "leerlab_operators": [f"{PREFIX}.1"],
            "leerlab_slurm_cgroups": False,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.network.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            **variables,
        }
        groups: dict[str, dict[str, Any]] = {"all": {"vars": given}}
        for name, machine in self.machines.items():
            group = group_of(name)
            host = {"ansible_host": machine.address, "leerlab_address": machine.address}
            if group == "nodes":
                # More than the machine has: the tests' jobs mostly wait.
                host |= {"leerlab_cpus": 8, "leerlab_memory_mb": 16384}
            groups.setdefault(group, {"hosts": {}})["hosts"][name] = host
        self.inventory.write_text(yaml.safe_dump(groups))

    def command(self, playbook: str, *options: str) -> tuple[list[str], dict[str, str]]:
        """The words and the environment of a playbook's run."""
        words = self.network.as_operator(
            ansible_environment() / "bin/ansible-playbook",
            self.tree / "ansible" / playbook,
            "-i",
            self.inventory,
            *options,
        )
        environment = {
            "PATH": f"{ansible_environment() / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": str(self.tree / "ansible/ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "LEERLAB_HUB_ENV": os.environ["LEERLAB_HUB_ENV"],
        }
        return words, environment

    def play(self, playbook: str, *options: str, check: bool = True) -> Played:
        """Run a playbook to its end."""
        words, environment = self.command(playbook, *options)
        begin, log = time.monotonic(), self.folder / f"{playbook}.{time.time():.0f}.log"
        with log.open("wb") as file:
            code = subprocess.run(
                words, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, timeout=PLAYBOOK_SECONDS, check=False,
            ).returncode  # fmt: skip
        seconds, output = time.monotonic() - begin, log.read_text()
        changed = {}
        for line in output.rpartition("PLAY RECAP")[2].splitlines():
            host, _, counts = line.partition(":")
            if "changed=" in counts:
                changed[host.strip()] = int(counts.partition("changed=")[2].split()[0])
        if check and code:
            raise AssertionError(f"{playbook} ended with {code} after {seconds:.0f} s:\n{output[-8000:]}")
        return Played(code, output, changed, seconds)

    @property
    def hub(self) -> Machine:
        return next(machine for name, machine in self.machines.items() if group_of(name) == "hub")

    @property
    def controller(self) -> Machine:
        return self.machines["control1"]

    @property
    def node(self) -> Machine:
        return self.machines["node1"]

    def leerlab(self, *words: str, check: bool = True, timeout: float = 120) -> Any:
        """The site's own command on the hub; its answer read as JSON."""
        line = " ".join(words)
        done = self.hub.run(
            f"/var/lib/leerlab/bin/leerlab {line} --site /etc/leerlab/site.yaml --json", check=check, timeout=timeout
        )
        return json.loads(done.stdout)

    @property
    def state(self) -> str:
        return f"/var/lib/leerlab/.local/state/leerlab/{yaml.safe_load(self.site_file.read_text())['site']['name']}"

    def remove(self) -> None:
        """All machines and everything on them."""
        for machine in self.machines.values():
            machine.destroy()
        self.provider.stop()
        self.network.remove()


def site_description() -> dict[str, Any]:
    """The demo site's people and courses, on a cluster of machines, reached by TLS."""
    description: dict[str, Any] = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    description["courses"] = description["courses"][:1]
    course = description["courses"][0]["id"]
    rules = {
        "student": ["students-hbo", f"nbgrader-{course}"], "employee": ["teachers", f"formgrade-{course}"],
        "operator": ["operators"],
    }  # fmt: skip
    description["login"] = {
        "kind": "oidc",
        "providers": [
            {
                "id": "surf", "preset": "surfconext", "issuer": ISSUER, "client_id": "leerlab",
                "client_secret_file": "/etc/leerlab/surf-secret",
                "rules": [
                    {"claim": "eduperson_affiliation", "operator": "contains", "value": value, "groups": groups}
                    for value, groups in rules.items()
                ],
            }
        ],
    }  # fmt: skip
    for absent in ("assistant", "sandboxes"):
        description.pop(absent)
    description["site"]["name"] = "noord"
    description["hub"] = {
        "bind": "127.0.0.1", "port": 8000, "domain": DOMAIN, "https": True,
        "database": "postgresql:///leerlab_hub?host=/run/postgresql",
    }  # fmt: skip
    description["ledger"] = {"url": "postgresql:///leerlab_ledger?host=/run/postgresql"}
    description["cluster"] = {
        "kind": "existing", "slurm_conf": "/etc/slurm/slurm.conf", "accounting": True, "network": f"{PREFIX}.0/24",
        "partitions": [{"name": "cpu", "time": "8h", "cpus": 8, "memory": "16G", "default": True}],
    }  # fmt: skip
    description["profiles"] = [one for one in description["profiles"] if one["partition"] == "cpu"]
    return description


@contextmanager
def operator() -> Iterator[Operator]:
    """An operator with a network and no machines yet; at the end nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="machines-", dir=os.environ.get("LEERLAB_DATA", "/var/lib/leerlab")))
    network = Network(folder.name[-4:].replace("_", "0"), folder)
    network.make()
    for name in ("shared", "backup", "tmp"):
        (folder / name).mkdir()
    authority, provider = Authority(folder), Provider(folder, network, DOMAIN)
    made = Operator(folder, network, folder / "shared", folder / "backup", authority, provider)
    try:
        authority.make()
        authority.certify(DOMAIN)
        provider.start()
        yield made
    finally:
        logs = CODE / "build/machines"
        logs.mkdir(parents=True, exist_ok=True)
        for log in folder.glob("*.log"):
            shutil.copyfile(log, logs / log.name)
        made.remove()
        shutil.rmtree(folder)
