"""What an entry leaves to the device: the choice, its reasons, and the sizes that it depends on."""
