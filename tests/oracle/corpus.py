#!/usr/bin/env python3
"""Run a text-to-SQL corpus through a gate and compare every answer with native row-level security.

    cargo build --release
    tests/oracle/corpus.py --corpus ../shared/corpus                 # all databases, both enforcement modes
    tests/oracle/corpus.py --corpus ../shared/corpus --db 'spider_*' --mode barrier --sample 20

CORPUS holds `queries.jsonl`, `load.py`, `run.py` and, for each database, `schema.sql.gz`, `rls.sql` and `policies.json`.
This script starts a private PostgreSQL (never as root), loads the databases, turns each policies.json into a folder of
permission views, serves each database with the users full, part and none, and lets the corpus' own run.py compare.
It needs PostgreSQL's server binaries and python3-venv; psycopg is installed into target/venv.
"""
import argparse, fnmatch, glob, json, os, pwd, re, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PASSWORD = 'corpus'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--corpus', default=os.path.join(ROOT, '..', 'shared', 'corpus'), help='folder of the corpus')
    parser.add_argument('--rowgate', default=None, help='the binary (default: newest of target/release and target/debug)')
    parser.add_argument('--db', default='*', help='only databases that match this pattern')
    parser.add_argument('--mode', action='append', choices=['barrier', 'inline'], help='enforcement (default: both)')
    parser.add_argument('--sample', type=int, help='at most this many queries a database')
    parser.add_argument('--extended', action='store_true', help='extended query protocol')
    parser.add_argument('--repeat', type=int, default=0, help='timed runs a query; 0 = compare only')
    parser.add_argument('--show', type=int, default=20, help='differences to print')
    a = parser.parse_args()
    corpus = os.path.abspath(a.corpus)
    rowgate = a.rowgate or newest_binary()
    python = environment()
    databases = sorted(os.path.basename(os.path.dirname(f)) for f in glob.glob(corpus + '/*/policies.json'))
    databases = [d for d in databases if fnmatch.fnmatch(d, a.db)]
    work = tempfile.mkdtemp(prefix='rowgate-corpus.')
    os.chmod(work, 0o755)
    server = Server(work)
    try:
        server.start()
        print(f'loading {len(databases)} databases ...', flush=True)
        subprocess.run([python, corpus + '/load.py', '--host', '127.0.0.1', '--port', str(server.port), '--user', 'postgres',
                        '--part', corpus, '--db', a.db], check=True, stdout=subprocess.DEVNULL, env=environ(PGPASSWORD=PASSWORD))
        failed = False
        for mode in a.mode or ['barrier', 'inline']:
            failed |= run_mode(a, mode, corpus, databases, rowgate, python, server, work)
        return 1 if failed else 0
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)


def run_mode(a, mode, corpus, databases, rowgate, python, server, work):
    """Serves and compares each database under one enforcement mode; prints the sum."""
    total, bad, refusals = {}, [], {}
    for database in databases:
        folder = os.path.join(work, mode, database)
        policies = json.load(open(os.path.join(corpus, database, 'policies.json'), encoding='utf8'))
        configure(folder, policies, mode, server)
        config = os.path.join(folder, 'rowgate.toml')
        if mode == 'barrier':
            applied = subprocess.run([rowgate, 'apply', '--config', config], capture_output=True, text=True)
            if applied.returncode:
                print(f'{database}: apply failed\n{applied.stdout}{applied.stderr}')
                bad.append((database, 'apply failed'))
                continue
            server.let_read(database, 'rowgate_owner')
        else:
            server.make_reader(database, policies, f'rowgate_{mode}')
            server.let_read(database, f'rowgate_{mode}')
        gate = Gate(rowgate, config, folder)
        try:
            report = os.path.join(folder, 'report.json')
            command = [python, corpus + '/run.py', '--part', corpus, '--db', database, '--repeat', str(a.repeat), '--json', report,
                       '--native', f'host=127.0.0.1 port={server.port} dbname={{db}} user={{login}} password={{password}}',
                       '--proxy', f'host=127.0.0.1 port={gate.port} dbname={{db}} user={{user}} password={PASSWORD}']
            command += ['--sample', str(a.sample)] if a.sample else []
            command += ['--extended'] if a.extended else []
            done = subprocess.run(command, capture_output=True, text=True)
            if not os.path.exists(report):
                print(f'{database}: the comparison failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
                bad.append((database, 'the comparison failed'))
                continue
        finally:
            gate.stop()
        data = json.load(open(report, encoding='utf8'))
        for key, count in data['summary']['verdicts'].items():
            total[key] = total.get(key, 0) + count
        for text, count in data['summary']['rejections']:
            refusals[text] = refusals.get(text, 0) + count
        bad += [(database, f"{r['id']} {r['user']}: {r['verdict']} {r['note']}\n      {' '.join(r['sql'].split())[:300]}")
                for r in data['not_matching']]
        bad += [(database, f'skipped: {s}') for s in data['summary']['skipped']]
    return summary(a, mode, total, bad, refusals)


def summary(a, mode, total, bad, refusals):
    """Prints the figures of one mode; whether something is wrong."""
    native = total.get('native_ok', 0) or 1
    accepted = total.get('accepted', 0)
    equal = sum(count for key, count in total.items() if key.startswith('match') and 'error' not in key)
    # `unstable`: the corpus knows that PostgreSQL's own answer depends on the plan (ties, sums of floats).
    wrong = sum(count for key, count in total.items() if key.startswith('mismatch') or 'proxy answered' in key)
    print(f'{mode}: accepted {100 * accepted / native:.3f} % ({accepted} of {native} runs PostgreSQL answers), '
          f'equal {100 * equal / (accepted or 1):.3f} % of the accepted, {wrong} differences')
    for key, count in sorted(total.items(), key=lambda item: -item[1]):
        print(f'  {count:7d}  {key}')
    for text, count in sorted(refusals.items(), key=lambda item: -item[1])[:15]:
        print(f'  refused {count:5d}  {text}')
    for database, text in bad[:a.show]:
        print(f'  [{database}] {text}')
    return bool(wrong) or accepted < 0.995 * native or any('failed' in text or 'skipped' in text for _, text in bad)


def configure(folder, policies, mode, server):
    """Writes rowgate.toml, the roles and the permission views of one database."""
    os.makedirs(os.path.join(folder, 'views'))
    users = policies['users']
    # Two of the corpus' users may share an id and differ in roles; to a gate a user is one id.
    shared = len({user['user_id'] for user in users.values()}) < len(users)
    ids = {name: name if shared else user['user_id'] for name, user in users.items()}
    own_id = "rowgate.attribute('corpus_id')" if shared else 'rowgate.user_id()'
    for number, table in enumerate(policies['tables']):
        columns = ', '.join(quoted(column['name']) for column in table['columns'])
        predicate = table['predicate'].replace('$roles', 'rowgate.roles()').replace('$user_id', own_id)
        # The same rules as native row-level security, kit.* tables included.
        body = (f"-- table: {quoted(table['schema'])}.{quoted(table['table'])}\n"
                f"SELECT {columns}\nFROM {quoted(table['schema'])}.{quoted(table['table'])}\nWHERE {predicate}\n")
        with open(os.path.join(folder, 'views', f'view{number}.sql'), 'w', encoding='utf8') as file:
            file.write(body)
    roles = {'users': {ids[name]: [] for name in users}, 'roles': {role: [] for user in users.values() for role in user['roles']},
             'user_roles': {ids[name]: user['roles'] for name, user in users.items()},
             'attributes': {ids[name]: {'corpus_id': [user['user_id']]} for name, user in users.items()}}
    with open(os.path.join(folder, 'roles.json'), 'w', encoding='utf8') as file:
        json.dump(roles, file)
    logins = ''.join(f'[logins.{name}]\npassword = "{PASSWORD}"\nuser_id = "{ids[name]}"\n' for name in users)
    with open(os.path.join(folder, 'rowgate.toml'), 'w', encoding='utf8') as file:
        file.write(f'''listen = "127.0.0.1:{free_port()}"
enforcement = "{mode}"
views = "views"
[upstream]
host = "127.0.0.1"
port = {server.port}
database = "{policies['database']}"
user = "rowgate_{mode}"
password = "{PASSWORD}"
admin_user = "postgres"
admin_password = "{PASSWORD}"
[[providers]]
kind = "file"
path = "roles.json"
[audit]
path = "audit.jsonl"
{logins}''')


class Server:
    """A private PostgreSQL in `work`, stopped with `stop`."""

    def __init__(self, work):
        self.bin = binaries()
        self.data = os.path.join(work, 'data')
        self.port = free_port()
        self.user = next(u for u in ('postgres', 'nobody') if exists(u)) if os.geteuid() == 0 else None

    def start(self):
        os.mkdir(self.data, 0o700)
        password = self.data + '.password'
        with open(password, 'w', encoding='utf8') as file:
            file.write(PASSWORD)
        os.chmod(password, 0o644)
        if self.user:
            entry = pwd.getpwnam(self.user)
            os.chown(self.data, entry.pw_uid, entry.pw_gid)
        self.run('initdb', '-D', self.data, '-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', password, '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8')
        with open(self.data + '/postgresql.conf', 'a', encoding='utf8') as file:
            file.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.data}'\nfsync = off\n"
                       "synchronous_commit = off\nfull_page_writes = off\nshared_buffers = 256MB\n")
        self.run('pg_ctl', '-D', self.data, '-w', '-l', self.data + '/log', 'start')

    def let_read(self, database, role):
        """The oracle's own policies are for the oracle's users; the permission views' reader sees every row."""
        self.sql(database, f"""SELECT format('DROP POLICY IF EXISTS rowgate ON %s; CREATE POLICY rowgate ON %s FOR SELECT TO {role} USING (true)',
                 oid::regclass, oid::regclass) FROM pg_class WHERE relrowsecurity \\gexec""")

    def make_reader(self, database, policies, role):
        """Inline enforcement installs nothing: its login is the administrator's to make."""
        schemas = ', '.join(sorted({quoted(table['schema']) for table in policies['tables']} | {'kit'}))
        self.sql(database, f"""SELECT 'CREATE ROLE {role} LOGIN PASSWORD ' || quote_literal('{PASSWORD}')
                 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
                 REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC; GRANT USAGE ON SCHEMA {schemas} TO {role};
                 GRANT SELECT ON ALL TABLES IN SCHEMA {schemas} TO {role};""")

    def sql(self, database, text):
        subprocess.run(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', str(self.port), '-U', 'postgres', '-d', database],
                       input=text, text=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ(PGPASSWORD=PASSWORD))

    def stop(self):
        if os.path.exists(self.data + '/postmaster.pid'):
            self.run('pg_ctl', '-D', self.data, '-m', 'immediate', '-w', 'stop')

    def run(self, program, *arguments):
        become = {'user': self.user, 'group': pwd.getpwnam(self.user).pw_gid, 'extra_groups': []} if self.user else {}
        subprocess.run([os.path.join(self.bin, program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd='/', **become)


class Gate:
    """`rowgate serve`, listening when made."""

    def __init__(self, rowgate, config, folder):
        text = open(config, encoding='utf8').read()
        self.port = int(re.search(r'listen = "127\.0\.0\.1:(\d+)"', text).group(1))
        self.log = open(os.path.join(folder, 'serve.log'), 'w', encoding='utf8')
        self.process = subprocess.Popen([rowgate, 'serve', '--config', config], stdout=self.log, stderr=self.log)
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(('127.0.0.1', self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        sys.exit('rowgate serve did not start:\n' + open(self.log.name, encoding='utf8').read()[-3000:])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def environ(**more):
    return {**os.environ, **more}


def exists(user):
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def newest_binary():
    found = [p for p in (os.path.join(ROOT, 'target', kind, 'rowgate') for kind in ('release', 'debug')) if os.path.exists(p)]
    if not found:
        sys.exit('no rowgate binary: run cargo build --release first')
    return max(found, key=os.path.getmtime)


def binaries():
    """The folder of initdb and pg_ctl, as the demo finds it."""
    candidates = [os.environ.get('PG_BINDIR', '')] + sorted(glob.glob('/usr/lib/postgresql/*/bin'), key=lambda p: int(re.search(r'/(\d+)/', p).group(1)), reverse=True)
    for folder in candidates + os.environ.get('PATH', '').split(':'):
        if folder and os.path.exists(os.path.join(folder, 'initdb')) and os.path.exists(os.path.join(folder, 'pg_ctl')):
            return folder
    sys.exit('no PostgreSQL server binaries: apt-get install postgresql')


def environment():
    """A Python that has psycopg."""
    venv = os.path.join(ROOT, 'target', 'venv')
    python = os.path.join(venv, 'bin', 'python')
    if not os.path.exists(python):
        subprocess.run([sys.executable, '-m', 'venv', venv], check=True)
    if subprocess.run([python, '-c', 'import psycopg'], capture_output=True).returncode:
        subprocess.run([python, '-m', 'pip', 'install', '-q', 'psycopg[binary]>=3.1'], check=True)
    return python


if __name__ == '__main__':
    sys.exit(main())
