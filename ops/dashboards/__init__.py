"""Grafana's dashboards, one file each, made with its Foundation SDK. Their JSON is in ops/grafana/dashboards."""
