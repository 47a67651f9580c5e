"""The servers that ours is measured beside; each file is one server, written as its documentation asks."""
