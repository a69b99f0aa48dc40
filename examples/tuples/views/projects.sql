-- description: the projects you take part in
/* The ids of tuples are text; with the cast beside the call it is evaluated once, and the index on id is used. */
SELECT id, name
FROM public.projects
WHERE id = ANY (rowgate.objects('viewer', 'project')::uuid[])
