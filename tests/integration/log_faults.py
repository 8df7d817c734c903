"""The faults of log_faults.sh: each makes topics and a state directory of its own, and prints one line.

A fault ends with a comparison: freshetd is asked to stop, and an undisturbed `freshet replay` over what the log holds,
obeying the same journal, has to come to the same weights and the same samples: from the log's beginning, or, where that
is gone, from the cut at which the operator decided.
"""

import concurrent.futures
import contextlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import confluent_kafka
import fastavro
import redis
from confluent_kafka import admin

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("FRESHET_BUILD", os.path.join(ROOT, "build/release"))
JARS = os.environ.get("FRESHET_KAFKA", os.path.join(ROOT, "build/kafka"))
SPACING_MS = 5  # of event time between two impressions
TICK_MS, WAIT_MS = 100, 300
AT_A_TIME = 4  # faults
TOPICS = ("impressions", "clicks")

CONFIGURATION = """state_dir: {state}
source: {{kind: kafka, bootstrap: '{bootstrap}', properties: {{reconnect.backoff.max.ms: 500}}}}
tick: {tick}ms
idle_timeout: 300ms
cuts: {{interval: 100ms, share: 1, keep: 1000, keep_interval: 0s}}
model: {{name: {name}, levels: [{{experts: [16]}}], towers: [16], batch: 32, workers: 1}}
impression: {{topic: {name}-impressions, framing: {framing}}}
actions:
  - {{name: click, topic: {name}-clicks, framing: {framing}, wait: {wait}ms, window: 2s}}
slots: [{{name: user, path: user_id}}, {{name: item, path: categorical.item}}]
redis: {{socket: {socket}, timeout: 2s}}
publish: {{interval: 100ms}}
{more}"""


PATIENCE_S = 90.0  # for what takes a second, on a machine that has much else to do


class Failure(Exception):
    """What was to hold does not."""


def await_true(what, test, seconds=PATIENCE_S):
    """Waits until test() is true; its value."""
    end = time.monotonic() + seconds
    while not (value := test()):
        if time.monotonic() > end:
            raise Failure(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.02)
    return value


def schema(name):
    with open(os.path.join(ROOT, "schemas", name + ".avsc"), encoding="utf-8") as file:
        return json.load(file)


SCHEMAS = {"impressions": schema("impression"), "clicks": schema("click")}
PARSED = {name: fastavro.parse_schema(one) for name, one in SCHEMAS.items()}


def encode(topic, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED[topic], record)
    return out.getvalue()


def click(number, when):
    return {"event_id": f"c{number}", "event_time": when, "impression_id": f"i{number}", "user_id": "u",
            "item_id": "x"}


class Kafka:
    """The broker, through its script and an admin client."""

    def __init__(self, work):
        self.data = os.path.join(work, "kafka")
        self.bootstrap = self.script("start", "0")
        self.admin = admin.AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        self.producer = self.make_producer()

    def script(self, verb, *words):
        command = [os.path.join(ROOT, "tests/tools/kafka/kafka"), verb, JARS, *words, "--data", self.data]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True).stdout.strip()

    def make_producer(self, **more):
        return confluent_kafka.Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 1, "log_level": 0,
                                         "message.max.bytes": 20_000_000, "reconnect.backoff.max.ms": 500,
                                         **{key.replace("_", "."): value for key, value in more.items()}})

    @staticmethod
    def done(futures):
        for future in futures.values():
            future.result(PATIENCE_S)

    def create(self, topics, partitions, config):
        new = [admin.NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
               for topic in topics]
        self.done(self.admin.create_topics(new))

    def anew(self, topic, partitions):
        """Deletes a topic and makes it again."""
        self.done(self.admin.delete_topics([topic]))

        def made():
            try:
                self.create([topic], partitions, {})
                return True
            except confluent_kafka.KafkaException:
                return False  # not gone yet

        await_true(f"{topic} made anew", made)

    def grow(self, topics, partitions):
        self.done(self.admin.create_partitions([admin.NewPartitions(topic, partitions) for topic in topics]))
        for topic in topics:
            await_true(f"the producer knows {topic}'s partitions", lambda topic=topic: partitions == len(
                self.producer.list_topics(topic, 5).topics[topic].partitions))

    def trim(self, topic, partition, offset):
        self.done(self.admin.delete_records([confluent_kafka.TopicPartition(topic, partition, offset)]))

    def end(self, topic, partition):
        asked = {confluent_kafka.TopicPartition(topic, partition): admin.OffsetSpec.latest()}
        (future,) = self.admin.list_offsets(asked).values()
        return future.result(PATIENCE_S).offset


class Registry:
    """Answers for schema ids as Confluent's does, while it is up."""

    def __init__(self):
        self.schemas, self.server = {}, None
        with http.server.HTTPServer(("127.0.0.1", 0), None) as probe:
            self.port = probe.server_port

    def up(self):
        schemas = self.schemas

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                text = schemas.get(self.path.rsplit("/", 1)[1])
                body = json.dumps({"schema": text} if text else {"error_code": 40403, "message": "none"}).encode()
                self.send_response(200 if text else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def down(self):
        self.server.shutdown()
        self.server.server_close()


class Stage:
    """What all faults share."""

    def __init__(self, work):
        self.work = work
        self.kafka = Kafka(work)
        self.socket = os.path.join(work, "redis.sock")
        self.redis = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "redis-server", "--port", "0", "--unixsocket", self.socket,
             "--save", "", "--dir", work, "--loglevel", "warning"], stdout=subprocess.DEVNULL)
        await_true("Redis", lambda: os.path.exists(self.socket) and redis.Redis(unix_socket_path=self.socket).ping())
        self.daemons = []

    def close(self):
        for process in [*self.daemons, self.redis]:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.kafka.script("stop")


class Fault:
    """One daemon over topics of its own."""

    def __init__(self, stage, name, partitions=1, framing="bare", more="", config=None):
        self.stage, self.kafka, self.name, self.partitions = stage, stage.kafka, name, partitions
        self.state = os.path.join(stage.work, name)
        self.path, self.log = self.state + ".yaml", self.state + ".log"
        self.topic = {one: f"{name}-{one}" for one in TOPICS}
        self.ids = {"impressions": 1, "clicks": 2} if framing == "confluent" else None  # of the topics' schemas
        self.impressions = self.records = self.last_time = 0
        self.process = None
        self.kafka.create(self.topic.values(), partitions, config or {})
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(state=self.state, bootstrap=self.kafka.bootstrap, name=name,
                                            framing=framing, socket=stage.socket, more=more, tick=TICK_MS,
                                            wait=WAIT_MS))

    # ---- records ----

    def value(self, topic, record):
        return (b"\0" + self.ids[topic].to_bytes(4, "big") if self.ids else b"") + encode(topic, record)

    def produce(self, count, producer=None, flush=True):
        """Impressions up to now, a click on every fourth; how many records."""
        producer = producer or self.kafka.producer
        begin = int(time.time() * 1000) - count * SPACING_MS
        before = self.records
        for i in range(count):
            number, when = self.impressions + i, begin + i * SPACING_MS
            rows = [("impressions", {"impression_id": f"i{number}", "event_time": when, "user_id": f"u{number % 7}",
                                     "item_id": "x", "categorical": {"item": [str(number % 5)]}, "numeric": {}})]
            if number % 4 == 0:
                rows.append(("clicks", click(number, when + 40)))
            for topic, record in rows:
                producer.produce(self.topic[topic], self.value(topic, record),
                                 partition=number % self.partitions, timestamp=record["event_time"])
                self.records += 1
        self.impressions += count
        self.last_time = begin + (count - 1) * SPACING_MS
        if flush:
            producer.flush(PATIENCE_S)
        return self.records - before

    # ---- freshetd ----

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self.state, "status.json"))
        with open(self.log, "a", encoding="utf-8") as log:
            self.log_begin = log.tell()
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", BUILD + "/freshetd", "-c", self.path], stderr=log)
        self.stage.daemons.append(self.process)

    def said(self):
        with open(self.log, encoding="utf-8") as log:
            log.seek(self.log_begin)
            return log.read()

    def status(self):
        try:
            with open(os.path.join(self.state, "status.json"), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def alive(self):
        if self.process.poll() is not None:
            raise Failure(f"freshetd ended with {self.process.returncode}:\n{self.said()[-2000:]}")
        return True

    def await_events(self, events, dead=0):
        await_true(f"{events} events and {dead} dead letters, there are {self.status().get('events')}, "
                   f"{self.status().get('dead_letters')}",
                   lambda: self.alive() and self.status().get("events") == events
                   and self.status().get("dead_letters") == dead and self.status().get("cut"))

    def stop(self):
        """Asks it to stop; its last status."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(PATIENCE_S) != 0:
            raise Failure(f"freshetd ended with {self.process.returncode}:\n{self.said()[-2000:]}")
        return self.status()

    def stops_by_itself(self, *texts, seconds=20.0):
        """It ends with status 1, and its last words have all these texts."""
        await_true(f"freshetd stops: {texts[0]}", lambda: self.process.poll() is not None, seconds)
        said = self.said()
        if self.process.returncode != 1 or any(text not in said for text in texts):
            raise Failure(f"freshetd ended with {self.process.returncode} and does not say {texts}:\n{said[-2000:]}")
        return said

    def decide(self, *texts, instead=None):
        """freshetd refuses to start, the command that it names is run, and it is started again."""
        self.start()
        said = self.stops_by_itself(*texts)
        command = re.findall(r"freshet (skip -c FILE [-a-zA-Z0-9 ]*[a-zA-Z0-9])", said)[-1].split()
        if instead:
            command = [instead.get(word, word) for word in command]
        command = [BUILD + "/freshet", *(self.path if word == "FILE" else word for word in command), "--yes"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise Failure(f"{' '.join(command)}: {done.stderr}")
        self.decided = done.stdout
        self.start()

    # ---- the comparison ----

    def settled(self):
        """Has every impression that was made paid, as far as ticks go?"""
        return self.alive() and (self.status().get("tick") or 0) * TICK_MS + TICK_MS - 1 >= self.last_time + WAIT_MS

    def compare(self, cut=None):
        """Lets what was read be learned, and stops freshetd: its last status. A replay from the beginning, or from a
        kept cut, comes to the same."""
        await_true("the last impression is learned", self.settled)
        status = self.stop()
        command = [BUILD + "/freshet", "replay", "-c", self.path, "--quiet", "--to", str(status["tick"]), "--obey",
                   os.path.join(self.state, "journal")]
        if cut is not None:
            command += ["--from", str(cut)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Failure(f"{' '.join(command)}: {done.stderr}")
        replay = json.loads(done.stdout)
        different = [f"{key}: {status[key]}, replay {replay[key]}"
                     for key in ("tick", "samples", "kinds", "samples_fingerprint", "weights")
                     if status[key] != replay[key]]
        if different:
            raise Failure(f"freshetd and {' '.join(command)} differ in {'; '.join(different)}")
        if status["samples"] == 0:
            raise Failure("nothing was learned")
        return status

    def learned(self, count):
        """Learns `count` impressions and what belongs to them, and stops; the number of the cut that is left."""
        self.produce(count)
        self.start()
        self.await_events(self.records)
        await_true("the last impression is learned", self.settled)
        return self.stop()["cut"]["number"]


# ---- the faults ----


def broker(stage):
    fault = Fault(stage, "broker", partitions=2)
    fault.produce(200)
    fault.start()
    fault.await_events(fault.records)
    stage.kafka.script("kill9")
    fault.produce(100, flush=False)
    await_true("the log tells of it", lambda: fault.alive() and "the source is away" in fault.said())
    stage.kafka.script("restart")
    stage.kafka.producer.flush(20)
    fault.await_events(fault.records)
    stage.kafka.script("pause")
    fault.produce(100, flush=False)
    time.sleep(1.5)
    stage.kafka.script("resume")
    stage.kafka.producer.flush(20)
    fault.await_events(fault.records)
    fault.compare()
    return "killed, started again, frozen, thawed: goes on by itself"


def transactions(stage):
    fault = Fault(stage, "transactions")
    fault.produce(100)
    fault.start()
    producer = stage.kafka.make_producer(transactional_id="faults")
    producer.init_transactions(20)
    producer.begin_transaction()
    fault.produce(50, producer)
    producer.commit_transaction(20)
    kept = fault.records
    producer.begin_transaction()
    fault.produce(50, producer)
    producer.abort_transaction(20)
    fault.await_events(kept)
    producer.begin_transaction()
    lost = fault.records - kept
    fault.produce(50, producer)
    fault.produce(50)  # behind the open one
    watermark = fault.status()["watermark_ms"]
    time.sleep(1.2)
    if fault.status()["events"] != kept or fault.status()["watermark_ms"] - watermark > 600:
        raise Failure(f"something passed an open transaction: {fault.status()}")
    producer.commit_transaction(20)
    fault.await_events(fault.records - lost)
    fault.compare()
    return f"committed ones are read, {lost} aborted records are not, an open one is waited for"


def oversize(stage):
    fault = Fault(stage, "oversize", config={"max.message.bytes": "20000000"})
    fault.produce(100)
    fault.start()
    fault.await_events(fault.records)
    now = int(time.time() * 1000)
    record = {"impression_id": "huge", "event_time": now, "user_id": "u", "item_id": "x", "numeric": {},
              "categorical": {"item": ["y" * 100] * 100_000}}
    long_id = dict(record, impression_id="z" * 2_000_000, categorical={})
    for value in (encode("impressions", record), encode("impressions", long_id), b"\x05" * 5_000_000):
        stage.kafka.producer.produce(fault.topic["impressions"], value, partition=0, timestamp=now)
    stage.kafka.producer.flush(PATIENCE_S)
    fault.produce(100)
    fault.await_events(fault.records + 1, dead=2)
    fault.compare()
    return "10 MB are read, 2 MB of id and 5 MB of nonsense are set aside"


def retention(stage):
    fault = Fault(stage, "retention")
    cut = fault.learned(200)
    fault.produce(200)
    end = stage.kafka.end(fault.topic["impressions"], 0)
    stage.kafka.trim(fault.topic["impressions"], 0, end - 50)
    fault.decide("is gone, the log begins at",
                 f"freshet skip -c FILE --topic {fault.topic['impressions']} --partition 0 --to {end - 50}")
    fault.await_events(fault.records - 150)
    status = fault.compare(cut)
    lost = int(re.search(r": (\d+), of which the log still has 0", fault.decided)[1])
    if status["skipped_offsets"] != lost or lost < 150:
        raise Failure(f"{lost} offsets were lost, the status says {status['skipped_offsets']}")
    return f"150 unread records gone: stops, skip, goes on; {lost} offsets lost, with those that were not learned"


def retention_of_handled(stage):
    fault = Fault(stage, "handled")
    fault.produce(200)
    fault.start()
    fault.await_events(fault.records)
    await_true("all is handled", fault.settled)
    cut = fault.stop()["cut"]["number"]
    for topic in fault.topic.values():
        stage.kafka.trim(topic, 0, stage.kafka.end(topic, 0))
    fault.start()
    fault.produce(100)
    fault.await_events(fault.records)
    fault.compare(cut)
    return "the whole log gone, all of it learned: goes on by itself"


def retention_while_it_runs(stage):
    fault = Fault(stage, "running")
    fault.produce(200)
    fault.start()
    fault.await_events(fault.records)
    fault.process.send_signal(signal.SIGSTOP)
    for _ in range(4):
        fault.produce(50)
    end = stage.kafka.end(fault.topic["impressions"], 0)
    stage.kafka.trim(fault.topic["impressions"], 0, end)
    fault.process.send_signal(signal.SIGCONT)
    fault.stops_by_itself("is gone, the log begins at", f"--partition 0 --to {end}")
    cut = fault.status()["cut"]["number"]
    fault.decide("is gone, the log begins at", f"--to {end}")
    fault.produce(100)
    await_true("the rest is read",
               lambda: fault.alive() and fault.status().get("lag") == 0 and fault.status()["events"] > 400)
    fault.compare(cut)
    return "offsets gone while it lags: stops, skip, goes on"


def made_anew_shorter(stage):
    fault = Fault(stage, "shorter")
    cut = fault.learned(200)
    stage.kafka.anew(fault.topic["impressions"], 1)
    begun = fault.records
    fault.produce(80)
    fault.decide("is beyond the log's end at 80", "--new-log --to earliest")
    fault.await_events(fault.records)
    fault.compare(cut)
    return f"offsets beyond the end: stops, another log, goes on with its {fault.records - begun} records"


def made_anew_longer(stage):
    fault = Fault(stage, "longer")
    cut = fault.learned(100)
    stage.kafka.anew(fault.topic["impressions"], 1)
    fault.produce(200)
    fault.decide("is not the one that was read before", "--new-log --to earliest", instead={"earliest": "100"})
    fault.await_events(fault.records - 100)
    fault.compare(cut)
    return "another record at our place: stops, another log from offset 100, goes on"


def made_anew_while_it_runs(stage):
    fault = Fault(stage, "anew")
    fault.produce(200)
    fault.start()
    fault.await_events(fault.records)
    await_true("the last impression is learned", fault.settled)
    stage.kafka.anew(fault.topic["impressions"], 1)
    fault.stops_by_itself(f"topic {fault.topic['impressions']}, partition 0: the log's end has gone back")
    cut = fault.status()["cut"]["number"]
    fault.decide("is beyond the log's end at 0", "--new-log --to earliest")
    fault.produce(100)
    await_true("the rest is read", lambda: fault.alive() and fault.status().get("events", 0) >= fault.records)
    fault.compare(cut)
    return "the end goes back: stops, another log, goes on"


def grown(stage):
    fault = Fault(stage, "grown", partitions=2)
    fault.learned(200)
    stage.kafka.grow(fault.topic.values(), 3)
    fault.partitions = 3
    fault.produce(200)
    fault.decide("has grown from 2 to 3 partitions", "freshet skip -c FILE --partitions 3")
    fault.await_events(fault.records)
    fault.stop()
    fault.start()
    # Clicks whose key lies elsewhere by now: their impressions are in another lane.
    now = int(time.time() * 1000)
    for number in (1, 2, 3, 5, 6):
        stage.kafka.producer.produce(fault.topic["clicks"], encode("clicks", click(number, now)), partition=2,
                                     timestamp=now)
        fault.records += 1
    fault.produce(60)
    fault.await_events(fault.records)
    orphaned = fault.compare()["topics"]["click"]["orphaned"]
    if orphaned != 5:
        raise Failure(f"{orphaned} orphans, not 5")
    return "stops, accepted, goes on with three lanes; 5 clicks whose key has moved are orphans"


def grown_while_it_runs(stage):
    fault = Fault(stage, "wider")
    fault.learned(100)
    fault.start()
    await_true("status", fault.status)
    stage.kafka.grow(fault.topic.values(), 2)
    fault.stops_by_itself("has grown from 1 to 2 partitions", "freshet skip -c FILE --partitions 2")
    return "stops"


def registry(stage):
    server = Registry()
    fault = Fault(stage, "registry", framing="confluent", more=f"""registry:
  url: http://127.0.0.1:{server.port}
  timeout: 500ms
""")
    server.schemas = {str(number): json.dumps(SCHEMAS[TOPICS[(number - 1) % 2]]) for number in (1, 2, 3, 4)}
    fault.produce(100)
    fault.start()
    await_true("a blocked partition", lambda: fault.alive() and fault.status().get("blocked"))
    if fault.status()["events"] or "schema" not in fault.status()["blocked_error"]:
        raise Failure(f"it should wait: {fault.status()}")
    server.up()
    fault.await_events(fault.records)
    fault.stop()
    server.down()
    fault.start()
    fault.produce(100)
    fault.await_events(fault.records)  # ids from the disk
    fault.ids = {"impressions": 3, "clicks": 4}
    before = fault.records
    fault.produce(100)
    await_true("a blocked partition", lambda: fault.alive() and fault.status().get("blocked"))
    if fault.status()["events"] != before or fault.status()["dead_letters"]:
        raise Failure(f"it should wait: {fault.status()}")
    server.up()
    fault.await_events(fault.records)
    fault.compare()
    server.down()
    return "down at the start: waits; down with ids on disk: goes on; down with a new id: waits"


FAULTS = (broker, registry, grown_while_it_runs, transactions, oversize, retention, retention_of_handled,
          retention_while_it_runs, made_anew_shorter, made_anew_longer, made_anew_while_it_runs, grown)


def run(stage, fault):
    """True: it passed. Prints its line."""
    begin, name = time.monotonic(), fault.__name__.replace("_", " ")
    try:
        line = f"{name}: {fault(stage)}: ok ({time.monotonic() - begin:.1f} s)"
        passed = True
    except (Failure, subprocess.SubprocessError, confluent_kafka.KafkaException, KeyError, TypeError) as failure:
        line, passed = f"{name}: FAILED: {failure!r}", False
    print(line, flush=True)
    return passed


def main(names):
    unknown = set(names) - {fault.__name__ for fault in FAULTS}
    if unknown:
        sys.exit(f"log_faults: no {', '.join(unknown)}; there are {', '.join(fault.__name__ for fault in FAULTS)}")
    subprocess.run([os.path.join(ROOT, "tests/tools/kafka/kafka"), "install", JARS], check=True)
    work = tempfile.mkdtemp(prefix="freshet-faults.")
    stage, failed = None, 0
    start = time.monotonic()
    try:
        stage = Stage(work)
        chosen = [fault for fault in FAULTS if not names or fault.__name__ in names]
        # The first one's are everybody's. The others mostly wait, each for itself.
        failed += sum(not run(stage, fault) for fault in chosen if fault is broker)
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            failed += sum(not passed for passed in pool.map(lambda fault: fault is broker or run(stage, fault), chosen))
    finally:
        if stage:
            stage.close()
        shutil.rmtree(work)
    print(f"{time.monotonic() - start:.0f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
