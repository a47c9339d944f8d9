{%- extends 'nbgrader/manage_submissions.tpl' -%}

{%- block messages -%}
<div class="panel panel-default">
  <div class="panel-body">
    Each submission is run as a job of its own, behind a wall, when you choose its autograde icon. You can go on working
    meanwhile; this page shows the score when the job has ended.
  </div>
</div>
{%- endblock -%}
