// JupyterHub's admin application reads these two globals; the values come from data attributes, not from inline script.
const data = document.getElementById("hub-data").dataset;
window.jhdata = {
  base_url: data.baseUrl,
  prefix: data.prefix,
  user: data.user,
  xsrf_token: data.xsrf,
  admin_access: true,
};
window.base_url = data.baseUrl;
window.api_page_limit = Number.parseInt(data.pageLimit, 10);
