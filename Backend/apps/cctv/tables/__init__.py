"""Tables, each in a module of its own. `apps.cctv.models` is the page of contents."""
