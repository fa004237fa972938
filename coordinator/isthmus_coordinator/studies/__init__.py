"""Studies as their authors signed them, and what each site's custodian decided."""
