"""Grafana's dashboards, one file each, by its own foundation SDK. Their JSON stands in ops/grafana/dashboards."""
