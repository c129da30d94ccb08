"""An ensemble as a service: JSON over HTTP, members that come and go while it answers."""
