"""What `phoenix doctor` finds: the form of a finding, and the checks of services and options that a server may have."""
