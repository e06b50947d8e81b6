%% Runs inside a test's RabbitMQ node, once it has booted: evaluates Erlang expressions sent to a Unix socket.
%% node_console.py is the other end. A request and an answer are one packet each, with a length of four bytes;
%% the answer is JSON, ["ok", value] or ["error", text].
Path = os:getenv("AMPHORA_NODE_CONSOLE_SOCKET"),

%% JSON has no tuples, pids or atoms: tuples become arrays, atoms and the rest strings. A character list
%% cannot be told from a list of numbers, so expressions should give binaries.
Plain = fun
    Plain(undefined) -> null;
    Plain(Term) when is_boolean(Term); is_number(Term); is_binary(Term) -> Term;
    Plain(Term) when is_atom(Term) -> atom_to_binary(Term, utf8);
    Plain(Term) when is_tuple(Term) -> Plain(tuple_to_list(Term));
    Plain(Term) when is_list(Term) -> [Plain(Item) || Item <- Term];
    Plain(Term) when is_map(Term) -> Plain(maps:to_list(Term));
    Plain(Term) -> iolist_to_binary(io_lib:format("~w", [Term]))
end,

Evaluate = fun(Text) ->
    try
        {ok, Tokens, _} = erl_scan:string(binary_to_list(Text)),
        {ok, Expressions} = erl_parse:parse_exprs(Tokens),
        {value, Value, _} = erl_eval:exprs(Expressions, erl_eval:new_bindings()),
        rabbit_json:encode([<<"ok">>, Plain(Value)])
    catch
        Class:Reason:Trace ->
            Description = io_lib:format("~p:~p~n~p", [Class, Reason, Trace]),
            rabbit_json:encode([<<"error">>, unicode:characters_to_binary(Description)])
    end
end,

Serve = fun Serve(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Text} ->
            ok = gen_tcp:send(Socket, Evaluate(Text)),
            Serve(Socket);
        {error, _} ->
            gen_tcp:close(Socket)
    end
end,

%% One process an accepted connection, so that an expression that waits holds up no other.
Accept = fun Accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Worker = spawn(fun() -> receive go -> Serve(Socket) end end),
    ok = gen_tcp:controlling_process(Socket, Worker),
    Worker ! go,
    Accept(Listener)
end,

spawn(fun() ->
    _ = file:delete(Path),
    {ok, Listener} = gen_tcp:listen(0, [binary, {packet, 4}, {active, false}, {ifaddr, {local, Path}}]),
    Accept(Listener)
end).
