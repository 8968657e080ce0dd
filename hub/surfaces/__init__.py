"""The surfaces: the HTTP interface and the command line. They stand on spine and platform; nothing in those imports them."""
