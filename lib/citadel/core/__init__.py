"""What every wing shares; knows no gateway."""
