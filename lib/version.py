"""The version of the hub, as hosts, upstreams and pages are told."""

VERSION = "0.1.0"
