"""What must be remembered and proven: people and the audit trail."""
