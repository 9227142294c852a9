# Varnish with its built-in rules; what is added lets it be purged. What else is tuned are parameters, in peers.py.
vcl 4.1;

backend origin {
  .host = "127.0.0.1";
  .port = "@ORIGIN_PORT@";
  .max_connections = 1000;
}

sub vcl_recv {
  if (req.method == "PURGE") {
    return (purge);
  }
  if (req.method == "BAN") {
    ban("req.url ~ " + req.url);
    return (synth(200));
  }
}
