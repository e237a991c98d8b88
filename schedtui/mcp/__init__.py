"""The same tools for any other program: an MCP server over the agent's registry, under the same rules.

Who is who, and what each part gives to the others (a module's own text says what it does):

``place.Place(kind, *, consent, kernel, cpus, folders, commands)``: the one machine of this server.
    ``begin()`` opens it in a thread; ``desk(stop, progress) -> Desk`` waits for it; ``clients`` who is connected;
    ``claim(client, what)``/``release(client, what)``: one at a time changes something (NotPermitted names the other);
    ``heed(listener) -> forget``: ``listener("came" | "went", client)``; ``close()``.
``client.Client(place, name, label="")``: one connected program.
    ``name`` as given, ``identity`` (``mcp:NAME``) for trust, history and audit; ``relabel(words)``; ``label``.
    ``specs() -> list[Tool]``; ``submit(tool, arguments_json, heard=None) -> Job`` (``job.future`` gives a Result,
    ``job.cancel()`` stops it and takes away what it tried); ``call(tool, arguments_json) -> Result`` waits for it.
    ``listen(listener) -> forget``: every event (agent.events), in the client's thread; it must not block.
    ``question``: the open Question or None; ``reply(question_id, choice)``; ``attended``: a callable that says
    whether a person can be asked (LIVE sets it); ``doing``: the running tool's title; ``stop(why)``: what
    runs is stopped, what it tried is gone; ``take_back(why, by="person")``: what it had kept goes too;
    ``begin(request)``: a new request; ``close(why)``.
    ``masked(text)``: as it may leave this computer. ``bench`` (ClientBench) is None until the machine is open.
``bench.ClientBench``: a Bench with ``client``, ``executions``, ``monitor``, ``profiles`` for research.py.
    ``research.tools()`` yields Tool[ClientBench, Any]; ``research.close(bench, why)`` ends what its tools started.
``allowance.Allowance``: ``call(tool, size)`` counts and raises OverAllowance; ``left()``.
``person.ClientPerson``: the Person of the bench; ``person.in_words(event)``: an event in a line, or nothing.
``stages.check(bench, tool)``/``follow(…)``: the order in which the tools of the four roles are called.
``requests.tools()``: ``new_request``, ``status``, ``take_back``.
``server.build(choose) -> mcp.server.lowlevel.Server``: ``choose(context) -> Client`` for each request, so that stdio
    has one and HTTP one for each token; ``resources.register`` and ``prompts.register`` add theirs.
``stdio.serve(place, name) -> int``: on stdin and stdout until they end.

No tool needs root. What a client says of itself is shown and believed nowhere.
"""
