#!/usr/bin/env python3
"""Puts event files into Kafka: every record of DIR/<topic>/<lane>.avro into partition <lane> of <topic>, in order, as
the bare Avro body in the schema of its file.

Usage: to_kafka.py DIR BOOTSTRAP

The topics must exist with a partition for each lane. Needs fastavro, confluent-kafka.
"""

import glob
import io
import os
import sys

import confluent_kafka
import fastavro


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    directory, bootstrap = sys.argv[1:]

    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True,
                                         "queue.buffering.max.messages": 1000000})
    failed = []
    count = 0
    for path in sorted(glob.glob(os.path.join(directory, "*", "*.avro"))):
        topic = os.path.basename(os.path.dirname(path))
        lane = int(os.path.basename(path).removesuffix(".avro"))
        with open(path, "rb") as file:
            reader = fastavro.reader(file)
            for record in reader:
                body = io.BytesIO()
                fastavro.schemaless_writer(body, reader.writer_schema, record)
                producer.produce(topic, value=body.getvalue(), partition=lane,
                                 on_delivery=lambda error, _: failed.append(error) if error else None)
                producer.poll(0)
                count += 1
    if producer.flush(60) or failed:
        sys.exit(f"to_kafka.py: {len(failed)} records were refused: {failed[:1]}")
    print(count)


if __name__ == "__main__":
    main()
