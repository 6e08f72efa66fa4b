"""What `import harness` offers: functions that take names and give results, without printing."""
