"""Somebody else's gateway: events with Confluent's own client and serializer, under a schema of its own that says little.

produce.py BROKERS TOPIC REGISTRY HOW_MANY
"""
import json
import os
import sys
import time

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SCHEMA = {
    "type": "record",
    "namespace": "tidemark",
    "name": "UsageEvent",
    "fields": [
        {"name": "event_id", "type": {"type": "fixed", "name": "EventId", "size": 16}},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "account_id", "type": "string"},
        {"name": "model", "type": "string"},
        {"name": "provider", "type": "string"},
        {"name": "prompt_tokens", "type": "long"},
        {"name": "completion_tokens", "type": "long"},
    ],
}


def uuid7(millis):
    """A UUIDv7 of a moment."""
    bits = bytearray(millis.to_bytes(6, "big") + os.urandom(10))
    bits[6] = 0x70 | bits[6] & 0x0F
    bits[8] = 0x80 | bits[8] & 0x3F
    return bytes(bits)


brokers, topic, registry, how_many = sys.argv[1:]
serialize = AvroSerializer(SchemaRegistryClient({"url": registry}), json.dumps(SCHEMA))
producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
place = SerializationContext(topic, MessageField.VALUE)
for number in range(int(how_many)):
    millis = time.time_ns() // 1_000_000
    event = {
        "event_id": uuid7(millis),
        "ts": millis * 1000,
        "account_id": "them",
        "model": "openai/gpt-4o",
        "provider": "openai",
        "prompt_tokens": number,
        "completion_tokens": 1,
    }
    producer.produce(topic, serialize(event, place), key=event["event_id"])
assert producer.flush(30) == 0
